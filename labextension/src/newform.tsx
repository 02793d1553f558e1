import * as React from 'react';

import { Field } from './fields';
import { ADVANCED } from './form';
import { LoopForm } from './loopform';
import { ProfilePicker } from './profiles';

/** What a new loop begins with unless the person says otherwise. */
export interface IDefaults {
  vault: string;
  profiles: readonly string[];
}

/** The form of a new loop. Only the title is asked for. */
export class NewLoopForm extends LoopForm {
  protected render(): React.ReactElement {
    const { trans } = this;
    const { repos } = this.choices;
    const isAdvanced =
      this.problem?.field !== undefined &&
      ADVANCED.includes(this.problem.field);
    return (
      <>
        {this.titleField()}
        {this.textField(
          'repo',
          trans.__('Repo'),
          repos.length > 0
            ? trans.__('A name, URL or path; empty for none')
            : trans.__('A URL or path; empty for none'),
          { list: 'jp-loops-repos' }
        )}
        <datalist id="jp-loops-repos">
          {repos.map(repo => (
            <option key={repo.name} value={repo.name}>
              {repo.url}
            </option>
          ))}
        </datalist>
        {this.textField(
          'ref',
          trans.__('Branch, tag or commit'),
          this._defaultBranch() ?? trans.__('The repo’s default branch')
        )}
        {this._profilesField()}
        {this.vaultField()}
        <details
          className="jp-Loops-advanced"
          open={this._isUnfolded || isAdvanced}
          onToggle={event => {
            this._isUnfolded = event.currentTarget.open;
          }}
        >
          <summary>{trans.__('Advanced')}</summary>
          {this.advancedFields()}
        </details>
        {this.outcome(
          this.values.repo === ''
            ? trans.__('Making the loop…')
            : trans.__('Making the loop and fetching the repo…')
        )}
      </>
    );
  }

  private _defaultBranch(): string | undefined {
    const { repo } = this.values;
    const picked = this.choices.repos.find(each => each.name === repo);
    return picked?.default_branch ?? undefined;
  }

  private _profilesField(): React.ReactElement | null {
    const { profiles } = this.choices;
    const chosen = this.values.profiles;
    if (profiles.length === 0 && chosen.length === 0) {
      return null;
    }
    return (
      <Field
        id="jp-loops-profiles"
        label={this.trans.__('Profiles')}
        problem={this.problemOf('profiles')}
        control={attributes => (
          <ProfilePicker
            attributes={attributes}
            chosen={chosen}
            known={profiles}
            trans={this.trans}
            onChange={profiles => this.set({ profiles })}
          />
        )}
      />
    );
  }

  private _isUnfolded = false;
}

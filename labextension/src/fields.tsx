import * as React from 'react';

import { Marked } from './marked';

/** What the control of a field gets, so that its label and what is wrong with it are read with it. */
export interface IAttributes {
  id: string;
  className: string;
  'aria-invalid': boolean;
  'aria-describedby': string | undefined;
}

interface IProps {
  id: string;
  label: string;
  /** What is wrong with it; undefined when nothing is. */
  problem: string | undefined;
  control: (attributes: IAttributes) => React.ReactElement;
}

/**
 * A label with its control below, and what is wrong with it below that.
 *
 * JupyterLab moves each select of a dialog into a frame of its own, so nothing may come and go before a control.
 */
export function Field(props: IProps): React.ReactElement {
  const { id, label, problem, control } = props;
  return (
    <div className="jp-Loops-field">
      <label htmlFor={id}>{label}</label>
      {control({
        id,
        className: 'jp-mod-styled',
        'aria-invalid': problem !== undefined,
        'aria-describedby': problem && `${id}-problem`
      })}
      {problem !== undefined && (
        <div role="alert" className="jp-Loops-problem" id={`${id}-problem`}>
          <Marked text={problem} />
        </div>
      )}
    </div>
  );
}

interface IChoiceProps<T extends string> extends Omit<IProps, 'control'> {
  value: T;
  /** Values and what they are called, in order. */
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}

/** A field with few things to pick from. */
export function Choice<T extends string>(
  props: IChoiceProps<T>
): React.ReactElement {
  const { value, options, onChange, ...field } = props;
  return (
    <Field
      {...field}
      control={attributes => (
        <select
          {...attributes}
          value={value}
          onChange={event => onChange(event.target.value as T)}
        >
          {options.map(([option, name]) => (
            <option key={option} value={option}>
              {name}
            </option>
          ))}
        </select>
      )}
    />
  );
}

interface ITextProps extends Omit<IProps, 'control'> {
  value: string;
  onChange: (value: string) => void;
  /** Anything else of the input, such as a placeholder. */
  more?: React.InputHTMLAttributes<HTMLInputElement>;
}

/** A field to type one line into. */
export function Text(props: ITextProps): React.ReactElement {
  const { value, onChange, more, ...field } = props;
  return (
    <Field
      {...field}
      control={attributes => (
        <input
          autoComplete="off"
          spellCheck={false}
          {...attributes}
          {...more}
          value={value}
          onChange={event => onChange(event.target.value)}
        />
      )}
    />
  );
}
